ARG BASE
FROM ${BASE}
ENV PYTHONDONTWRITEBYTECODE=1
RUN python3 -c "import json; open('/made', 'w').write(json.dumps(list(range(1000))))"
RUN mkdir -p /a/b/c && echo text >/a/b/c/d && ln -s /made /a/link && chmod 0700 /a/b && umask 077 && echo secret >/a/secret
