# linked: 3
ARG BASE
FROM ${BASE} AS builder
RUN mkdir -p /out/a /out/b /out/c /out/turned && touch /out/a/1 /out/a/2 /out/b/1 /out/b/2 /out/c/1 && echo file >/out/file
RUN rm /out/a/1 && rm -r /out/b && mkdir /out/b && echo new >/out/b/new && rm -r /out/c && echo file >/out/c
RUN rm -r /out/file && mkdir /out/file && echo below >/out/file/below && rmdir /out/turned && ln -s a /out/turned && echo changed >>/out/a/2 && chmod 0700 /out/a
COPY hello /out/from-context
COPY src /out/src
FROM ${BASE} AS final
RUN mkdir -p /gone/sub && echo x >/gone/sub/x && echo y >/gone/y
RUN rm -r /gone
COPY --from=builder /out /gone
COPY --from=builder /out /out
FROM final
COPY --from=final /out/src /elsewhere
RUN find /gone /out /elsewhere | sort >/list
FROM scratch
COPY --from=final /gone /gone
