# `make help` lists what there is to do.
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
PREFIX   ?= /usr/local
FUZZTIME ?= 30s

.DEFAULT_GOAL := help

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## The daemon, bin/ladle
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.release=$(VERSION)' -o bin/ladle ./cmd/snapshotter

.PHONY: buildkitd
buildkitd: ## BuildKit that merges on ladle, bin/ladle-buildkitd
	script/buildkit.sh

.PHONY: install
install: build ## Daemon, /etc/ladle/config.toml, systemd unit (DESTDIR, PREFIX)
	script/install.sh '$(DESTDIR)' '$(PREFIX)'

.PHONY: uninstall
uninstall: ## Take daemon and unit away; configuration and state stay
	rm -f '$(DESTDIR)$(PREFIX)/bin/ladle' '$(DESTDIR)/etc/systemd/system/ladle.service'
	rm -f '$(DESTDIR)$(PREFIX)/lib/systemd/user/ladle-rootless.service' '$(DESTDIR)$(PREFIX)/lib/systemd/user/buildkitd-rootless.service'
	rm -rf '$(DESTDIR)$(PREFIX)/share/ladle' '$(DESTDIR)/opt/containerd/image-verifier/bin/ladle-verify-pull'

.PHONY: demo
demo: build ## Run a real image before it is there, beside overlayfs (root; IMAGE=reference)
	script/demo.sh $(if $(IMAGE),-image '$(IMAGE)')

.PHONY: check
check: ## Lint and the short tests of the daemon (root): two minutes, and only what changed
	script/components.sh packages
	script/lint.sh
	go test -count=1 ./internal/levels
	go test -short ./...

.PHONY: test
test: $(if $(PKG),,build) ## Every test (root), and what was skipped; or some: PKG=./snapshot RUN=TestX
	$(if $(PKG),script/test-package.sh '$(PKG)' $(if $(RUN),'$(RUN)'),script/test.sh)

.PHONY: buildkit-tests
buildkit-tests: build ## BuildKit's own tests of merges and laziness, on ladle (root)
	script/buildkit-tests.sh
	script/buildkit-client-tests.sh $(if $(TESTS),'$(TESTS)')

.PHONY: buildx-tests
buildx-tests: build ## docker buildx on ladle, plain and rootless (root)
	script/buildx-tests.sh

.PHONY: release
release: build ## Archives, .deb, .rpm, Helm chart and their checksums, in dist/ (ARCHS="amd64 arm64")
	script/release.sh $(ARCHS)

.PHONY: release-tests
release-tests: build ## A release made twice is the same, and its packages do what they should (root)
	script/release-tests.sh

.PHONY: chart-tests
chart-tests: ## The Helm chart: lint, and what it makes beside the types of Kubernetes
	script/chart-tests.sh

.PHONY: alert-tests
alert-tests: ## Alert rules, their unit tests and the dashboard, by promtool
	script/alert-tests.sh

.PHONY: critest
critest: build ## Conformance tests of CRI on ladle beside overlayfs (root; FOCUS=regexp, CONTAINERD=newest,2.3)
	script/kube.sh critest $(if $(FOCUS),-focus '$(FOCUS)') $(if $(CONTAINERD),-containerd '$(CONTAINERD)')

.PHONY: kubelet-tests
kubelet-tests: build ## A real kubelet's pods on ladle: restarts, reboot, image volumes (root; TESTS=regexp, WEIGHTS=MiB)
	WEIGHTS='$(WEIGHTS)' script/kube.sh kubelet $(if $(TESTS),'$(TESTS)')

.PHONY: race
race: build ## Every test (root, a C compiler) with the race detector
	CGO_ENABLED=1 script/test.sh -race

.PHONY: race-short
race-short: ## Short tests of what has most goroutines, with the race detector (root, a C compiler)
	script/race-short.sh

.PHONY: fuzz
fuzz: ## Each fuzz target for FUZZTIME (30s)
	script/fuzz.sh '$(FUZZTIME)'

.PHONY: bench
bench: build ## Walks, opens, reads: ladle beside overlayfs and stargz (root; N=rounds)
	script/components.sh
	cd test && go run ./cmd/bench $(if $(N),-n $(N))

.PHONY: bench-cold
bench-cold: build ## Time to ready over four simulated links (root; N=samples)
	script/components.sh
	cd test && go run ./cmd/bench-cold $(if $(N),-n $(N))

.PHONY: bench-read
bench-read: build ## Pull and read all of a plain image: ladle beside the best overlayfs (root; N=samples, WEIGHTS=MiB of one file)
	script/components.sh
	cd test && go run ./cmd/bench-cold $(if $(WEIGHTS),-weights $(WEIGHTS),-read) $(if $(N),-n $(N))

.PHONY: bench-import
bench-import: build ## Memory and disk of the first pull of a plain image of 40 layers (root; SIZE=MiB)
	script/components.sh
	cd test && go run ./cmd/bench-import $(if $(SIZE),-size $(SIZE)) $(if $(N),-n $(N))

.PHONY: bench-diff
bench-diff: build ## Commit of a lazy container: ladle's differ beside containerd's, and overlayfs (root; N=samples)
	script/components.sh
	cd test && go run ./cmd/bench-diff $(if $(N),-n $(N))

.PHONY: bench-buildkit
bench-buildkit: build ## Builds on a lazy base: ladle beside overlayfs and stargz (root; N=samples)
	script/components.sh
	cd buildkit && go run ./cmd/bench-buildkit $(if $(N),-n $(N))

.PHONY: bench-convert
bench-convert: build ## ladle convert beside stargz-snapshotter's converter (N=rounds, IMAGE=recipe)
	cd test && go run ./cmd/image build -format gzip '$(or $(IMAGE),debian-python)'
	cd bench && go run ./convert $(if $(N),-n $(N)) "$${LADLE_CACHE:-../.cache}"/images/'$(or $(IMAGE),debian-python)'-v*/gzip

.PHONY: cover
cover: ## Test coverage of the packages (root), in .cache/cover.html
	mkdir -p .cache && go test -count=1 -coverpkg=./... -coverprofile=.cache/cover.out ./...
	go tool cover -html=.cache/cover.out -o .cache/cover.html && go tool cover -func=.cache/cover.out | tail -1

.PHONY: lint
lint: ## gofmt, go vet, staticcheck over all modules, shellcheck over all scripts
	script/lint.sh

.PHONY: clean
clean: ## Remove what was built: bin/, dist/; .cache/ stays
	rm -rf bin dist
