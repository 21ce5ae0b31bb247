ARG BASE
FROM ${BASE}
COPY --link hello /usr/local/bin/hello
COPY --link src /etc/src
