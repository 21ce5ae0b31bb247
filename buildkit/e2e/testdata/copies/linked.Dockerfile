# linked: 4
ARG BASE
FROM ${BASE} AS builder
RUN mkdir -p /out/sub && echo one >/out/one && echo two >/out/sub/two
FROM ${BASE} AS final
COPY --link --from=builder /out /out
COPY --from=builder /out /again
COPY --link --from=builder /out/sub /sub
RUN cat /out/one /again/one /sub/two >/all && echo more >>/out/one && cat /again/one
FROM builder
COPY --link --from=builder /out /beside
RUN echo more >>/beside/one && cat /out/one >/all
