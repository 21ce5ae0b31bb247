ARG BASE
FROM ${BASE}
RUN mkdir -p /real /opt/real && ln -s real /link && ln -s /opt/real /opt/link
COPY --link hello /link/
COPY --link hello /opt/link
RUN find /link /real /opt -printf "%p %y %m %U %l\n" | sort >/list
