ARG BASE
FROM ${BASE}
COPY hello /usr/local/bin/hello
COPY src /opt/src
COPY --chown=12:34 --chmod=640 docs/*.txt /opt/docs/
COPY large /opt/a/b/c/
ADD files.tar /
