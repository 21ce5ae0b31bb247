ARG BASE
FROM ${BASE}
WORKDIR /made/by/workdir
USER 1000:1000
RUN cat /etc/passwd >/dev/null
ENV A=b
CMD ["true"]
