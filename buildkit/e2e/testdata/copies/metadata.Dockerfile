# linked: 3
ARG BASE
FROM ${BASE} AS builder
RUN mkdir -p /out/dir && cp -a /opt/edits /out/edits && echo x >/out/dir/x && ln /out/dir/x /out/dir/y && ln /out/dir/x /out/z
RUN python3 -c "import os; os.setxattr('/out/dir', 'user.dir', b'1'); os.setxattr('/out/dir/x', 'user.file', b'2')"
RUN mkfifo -m 0604 /out/pipe && mknod /out/null c 1 3 && ln -s a /out/symlink && ln -P /out/symlink /out/symlink-too && chown -h 5:6 /out/symlink && touch -h -d 2002-02-02 /out/symlink
FROM ${BASE} AS other
RUN mkdir -p /out/dir && python3 -c "import os; os.setxattr('/out/dir', 'user.there', b'1')"
COPY --from=builder /out /out
COPY --from=builder /out /again
FROM scratch
COPY --from=builder /out /
