# linked: 0
ARG BASE
FROM ${BASE} AS builder
RUN mkdir -p /out/real /dirs/x && echo one >/out/real/one && ln -s out /link && ln -s real/one /out/to-file && python3 -c "import socket; socket.socket(socket.AF_UNIX).bind('/dirs/socket')"
FROM ${BASE} AS final
RUN mkdir /real && ln -s real /to && mkdir /gid && chmod 2775 /gid && chgrp 7 /gid
COPY --from=builder /link /through-link
COPY --from=builder /link/real/one /through-link-too
COPY --from=builder /out/to-file /file
COPY --from=builder /out /to
COPY --from=builder /out /to/below
COPY --from=builder /out /gid/new
COPY --from=builder /dirs /dirs
COPY --from=builder /out/*/one /wild
COPY --from=builder --chown=3:4 /out /owned
COPY --from=builder --chmod=0600 /out/real/one /mode
COPY --from=builder /out/real/one /out/to-file /several/
COPY --from=builder /usr/share/doc/tar /lazy
FROM builder
COPY --from=builder /out /self
