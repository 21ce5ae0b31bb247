package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
)

const (
	unitDir  = "/etc/systemd/system"
	bootWant = "multi-user.target"
)

// initSocket is where systemctl asks. It is not in /run, which a reboot empties.
func initSocket() string { return filepath.Join(scratch, "init.sock") }

// systemd runs services as systemd does, as far as an installation relies on it: units are
// read when they are first needed, and again after daemon-reload; what a starting unit
// wants is started before it.
type systemd struct {
	listener net.Listener
	mu       struct {
		sync.Mutex
		units    map[string]unit // as they were read
		services map[string]*service
		output   map[string]*buffer
		starts   map[string]int
	}
}

// unit is a unit file: its directives.
type unit map[string][]string

func newSystemd() (*systemd, error) {
	l, err := net.Listen("unix", initSocket())
	if err != nil {
		return nil, err
	}
	s := &systemd{listener: l}
	s.mu.units, s.mu.services = map[string]unit{}, map[string]*service{}
	s.mu.output, s.mu.starts = map[string]*buffer{}, map[string]int{}
	go s.listen()
	return s, nil
}

func (s *systemd) listen() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			var args []string
			if err := json.NewDecoder(conn).Decode(&args); err != nil {
				return
			}
			text := ""
			if err := s.do(args); err != nil {
				text = err.Error()
			}
			_ = json.NewEncoder(conn).Encode(text) // systemctl may have been killed
		}()
	}
}

// askInit is the program systemctl.
func askInit(args []string) (code int, err error) {
	if args[0] == "--version" {
		_, err := fmt.Println("systemd 252 (252.1-1)")
		return 0, err
	}
	conn, err := net.Dial("unix", os.Getenv("LADLE_TEST_INIT"))
	if err != nil {
		return 1, err
	}
	defer conn.Close()
	if err := json.NewEncoder(conn).Encode(args); err != nil {
		return 1, err
	}
	var text string
	if err := json.NewDecoder(conn).Decode(&text); err != nil {
		return 1, err
	}
	if text != "" {
		return 3, errors.New(text)
	}
	return 0, nil
}

// do is a command of systemctl.
func (s *systemd) do(args []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	args = slices.DeleteFunc(args, func(a string) bool { return a == "--quiet" })
	switch verb, rest := args[0], args[1:]; verb {
	case "daemon-reload":
		s.mu.units = map[string]unit{}
		return nil
	case "reset-failed":
		return nil
	case "enable":
		return s.wantsLocked(rest[0], func(link string) error {
			if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
				return err
			}
			return errors.Join(os.RemoveAll(link), os.Symlink(filepath.Join(unitDir, rest[0]), link))
		})
	case "disable": // --now
		name := rest[len(rest)-1]
		remove := func(link string) error {
			err := os.RemoveAll(link)
			_ = os.Remove(filepath.Dir(link)) // if it is empty
			return err
		}
		return errors.Join(s.wantsLocked(name, remove), s.stopLocked(name))
	case "restart":
		return s.restartLocked(rest[0])
	case "is-active":
		if !s.runsLocked(rest[0]) {
			return errors.New("inactive")
		}
		return nil
	}
	return fmt.Errorf("systemctl %v is not known here", args)
}

func (s *systemd) unitLocked(name string) (unit, error) {
	if u := s.mu.units[name]; u != nil {
		return u, nil
	}
	text, err := os.ReadFile(filepath.Join(unitDir, name))
	if err != nil {
		return nil, fmt.Errorf("Unit %s not found: %w", name, err)
	}
	u := unit{}
	for _, m := range regexp.MustCompile(`(?m)^(\w+)=(.*)$`).FindAllStringSubmatch(string(text), -1) {
		u[m[1]] = append(u[m[1]], m[2])
	}
	s.mu.units[name] = u
	return u, nil
}

func (s *systemd) wantsLocked(name string, do func(link string) error) error {
	u, err := s.unitLocked(name)
	if err != nil {
		return err
	}
	for _, target := range strings.Fields(strings.Join(u["WantedBy"], " ")) {
		if err := do(filepath.Join(unitDir, target+".wants", name)); err != nil {
			return err
		}
	}
	return nil
}

// restartLocked starts what the unit wants, and then the unit, again if it runs.
func (s *systemd) restartLocked(name string) error {
	u, err := s.unitLocked(name)
	if err != nil {
		return err
	}
	if err := s.startWantedLocked(name); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if running := s.mu.services[name]; running != nil {
		running.stop(ctx, syscall.SIGTERM)
		delete(s.mu.services, name)
	}
	if s.mu.output[name] == nil {
		s.mu.output[name] = new(buffer)
	}
	s.mu.starts[name]++
	service, err := startService(ctx, strings.Fields(u["ExecStart"][0]), filepath.Join(scratch, name+".notify"), s.mu.output[name])
	if err != nil {
		return fmt.Errorf("Job for %s failed: %w\n%s", name, err, tail(s.mu.output[name].String()))
	}
	s.mu.services[name] = service
	return nil
}

// startWantedLocked starts the units that are enabled for name. Failures do not keep it from starting.
func (s *systemd) startWantedLocked(name string) error {
	wanted, err := os.ReadDir(filepath.Join(unitDir, name+".wants"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, w := range wanted {
		if !s.runsLocked(w.Name()) {
			_ = s.restartLocked(w.Name())
		}
	}
	return err
}

func (s *systemd) stopLocked(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if running := s.mu.services[name]; running != nil {
		running.stop(ctx, syscall.SIGINT)
		delete(s.mu.services, name)
	}
	return nil
}

// boot starts what is enabled.
func (s *systemd) boot() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.units = map[string]unit{}
	all, err := os.ReadDir(filepath.Join(unitDir, bootWant+".wants"))
	if err != nil {
		return err
	}
	var errs []error
	for _, w := range all {
		if !s.runsLocked(w.Name()) {
			errs = append(errs, s.restartLocked(w.Name()))
		}
	}
	return errors.Join(errs...)
}

// crash ends all processes as a power cut does.
func (s *systemd) crash() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, running := range s.mu.services {
		running.kill()
	}
	clear(s.mu.services)
}

func (s *systemd) runsLocked(name string) bool {
	running := s.mu.services[name]
	return running != nil && running.running()
}

func (s *systemd) runs(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runsLocked(name)
}

// started is how often a unit was started.
func (s *systemd) started(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.starts[name]
}

func (s *systemd) log(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.mu.output[name]; b != nil {
		return b.String()
	}
	return ""
}
