ARG BASE
FROM ${BASE}
COPY --link hello /etc/hello
RUN cat /etc/hello /etc/passwd >/etc/both
COPY --link src /etc/src
RUN rm /etc/src/two.c && echo more >>/etc/src/one.c
