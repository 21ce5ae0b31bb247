ARG BASE
FROM ${BASE} AS one
COPY src /src
RUN cat /src/*.c >/built && cp -a /usr/bin/env /env
FROM one AS two
RUN rm -rf /src && mkdir /src && mv /built /src/built
FROM ${BASE}
COPY --from=one /env /src /one/
COPY --from=two /src/built /two/
RUN --mount=type=bind,from=two,source=/usr/bin,target=/bound ls /bound >/list
