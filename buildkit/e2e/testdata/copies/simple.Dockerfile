# linked: 9
ARG BASE
FROM ${BASE} AS builder
RUN mkdir -p /out/deep/er /out/empty && echo one >/out/one && echo two >/out/deep/two && cp /usr/bin/env /out/deep/er/env && chmod 4711 /out/deep/er/env && chmod 0700 /out/deep && chown -R 7:8 /out/deep/er && ln -s one /out/link && ln -s /nowhere /out/dangling
RUN touch -d 2001-02-03T04:05:06 /out/one /out/deep /out/empty && chmod 0711 /out
FROM ${BASE} AS final
# a target that is not there, below directories that are and that are not
COPY --from=builder /out /new
COPY --from=builder /out/deep /a/b/c/deep
COPY --from=builder /out/deep/ /usr/share/from-builder/
# one that is
RUN mkdir -p /there/deep && echo old >/there/one && echo kept >/there/kept && chmod 0750 /there && chmod 0777 /there/deep && chown 9:9 /there /there/deep
COPY --from=builder /out /there
WORKDIR /work
COPY --from=builder /out .
COPY --from=builder /out ./below
# files
COPY --from=builder /out/one /single
COPY --from=builder /out/one /into/
COPY --from=builder /out/deep/two /there
RUN find /new /a /usr/share/from-builder /there /work /single /into ! -type d -printf '%p %m %U:%G %s %l\n' | sort >/list && echo more >>/new/one && rm /there/two && chmod 0600 /single
