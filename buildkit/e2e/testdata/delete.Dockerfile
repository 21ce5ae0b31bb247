ARG BASE
FROM ${BASE}
RUN rm -rf /usr/share/doc /etc/cron.daily /etc/issue && rm /etc/shells
RUN rm -rf /opt/edits/sub /usr/share/man && mkdir /usr/share/doc && echo back >/usr/share/doc/back
RUN rm -rf /usr/share/doc
