ARG BASE
FROM ${BASE}
RUN rm -rf /etc/apt && echo file >/etc/apt && rm /usr/bin/env && mkdir /usr/bin/env && echo inside >/usr/bin/env/file
RUN rm -rf /etc/pam.d && mkdir -m 0700 /etc/pam.d && echo only >/etc/pam.d/only
RUN rm /etc/apt && mkdir /etc/apt && rm -r /usr/bin/env && ln -s cat /usr/bin/env
RUN mv /etc/pam.d /etc/renamed && mv /usr/share/common-licenses /usr/share/renamed
