ARG BASE
FROM ${BASE} AS tools
FROM scratch
COPY --from=tools /usr/bin/cat /bin/cat
COPY --from=tools /etc/apt /etc/apt
COPY --from=tools /usr/share/doc/*/copyright /copyrights/
COPY --from=tools /opt/edits /opt/edits
