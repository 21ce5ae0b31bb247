ARG BASE
FROM ${BASE}
RUN ln /usr/bin/cat /usr/bin/kitty && ln /srv/py /opt/another && ln -s kitty /usr/bin/kit
RUN echo changed >>/opt/edits/python3
RUN echo one >/x && ln /x /y && ln /x /z && rm /x
RUN echo two >>/z && mkdir /d && ln /y /d/y
