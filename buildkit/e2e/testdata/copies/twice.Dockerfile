# linked: 7
ARG BASE
FROM ${BASE} AS builder
RUN mkdir -p /one /two /etc/tables && for i in 1 2 3 4 5 6 7 8; do echo $i >/one/$i; echo two $i >/two/$i; done && ln /one/1 /two/linked && echo t >/etc/tables/t
FROM ${BASE} AS first
COPY --from=builder /one /one
COPY --from=builder /two /two
COPY --from=builder /one /three
COPY --from=builder /etc/tables /etc/tables
FROM first AS second
COPY --from=first /one /of-first
RUN echo changed >>/one/2 && chmod 0600 /one/3 && rm /two/4 && cmp /three/2 /of-first/2 && ! cmp /one/2 /three/2
COPY --from=first /one /one
FROM ${BASE}
COPY --from=second /three /three
COPY --from=second /one /one
COPY --from=builder /one /one
RUN find /one /three -printf '%p %m %s\n' | sort >/list
