# linked: 2
ARG BASE
FROM ${BASE} AS changed
RUN echo changed >>/usr/lib/os-release && mkdir /out && echo new >/out/new && cp /usr/lib/os-release /out/release
FROM ${BASE} AS final
COPY --from=changed /usr/lib/os-release /usr/lib/was
COPY --from=changed /out /out
RUN ! test /usr/lib/os-release -ef /usr/lib/was && ! cmp -s /usr/lib/os-release /usr/lib/was && cmp /usr/lib/was /out/release
