ARG BASE
FROM ${BASE} AS tools
FROM ${BASE}
COPY --from=tools /usr/share/python3 /opt/python3
COPY --from=tools --chown=99:99 /etc/passwd /etc/passwd
RUN cat /etc/passwd >/all && ls -R /opt/python3 >>/all
