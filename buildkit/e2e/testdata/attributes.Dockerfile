ARG BASE
FROM ${BASE}
RUN chmod 4711 /usr/bin/cat && chown 5:6 /etc/debian_version && chown -h 7:8 /bin && touch -d 2001-02-03 /usr/bin/ls
RUN python3 -c "import os; os.setxattr('/opt/edits/xattrs', 'user.new', b'1'); os.removexattr('/opt/edits/xattrs', 'user.ladle.long'); os.setxattr('/opt', 'user.dir', b'2')"
RUN cp -a /opt/edits /opt/copied && cp -a /usr/local/bin /usr/local/bin2
RUN mkfifo /fifo && mknod /null c 1 3
RUN chmod 0700 /opt/edits && chmod 0755 /opt/edits
