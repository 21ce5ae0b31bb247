ARG BASE
FROM ${BASE} AS tools
FROM ${BASE}
RUN mkdir /there && chmod 0700 /there && touch /file
COPY --link hello /there
COPY --link hello /file
COPY --link --from=tools /etc/apt /etc/pam.d
COPY --link --from=tools --chown=7:8 /opt/edits /opt/
RUN find /etc/pam.d /opt /there /file -printf "%p %y %m %U %l\n" | sort >/list; cat /file /there >>/list || true
