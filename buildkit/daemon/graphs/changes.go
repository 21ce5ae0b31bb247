package main

// local are changes to the files of a Debian root filesystem, by name. Each is a known
// pitfall of programs that stack layers.
var local = map[string]string{
	"whiteouts": "rm -r usr/share/doc/bash usr/share/doc/dpkg etc/issue etc/cron.daily && rm etc/passwd etc/shells",
	"opaque":    "rm -r etc/apt etc/pam.d && mkdir etc/apt && mkdir -m 0711 etc/pam.d && echo only >etc/pam.d/only",
	"types": "rm -r etc/apt && echo file >etc/apt && rm usr/bin/env && mkdir usr/bin/env && echo inside >usr/bin/env/file && " +
		"rm -r etc/pam.d && ln -s apt etc/pam.d && rm etc/shells && mkfifo etc/shells && rm bin && mkdir bin && echo x >bin/x",
	"links": "ln usr/bin/cat usr/bin/kitty && echo one >one && ln one two && ln one opt/three && rm one && ln srv/py opt/another && echo changed >>opt/edits/python3",
	"capabilities": "python3 -c \"import os; c = bytes.fromhex('0100000200040000000000000000000000000000'); " +
		"os.setxattr('usr/bin/cat', 'security.capability', c); os.setxattr('usr/bin/ls', 'security.capability', c); os.removexattr('usr/local/bin/cap-cat', 'security.capability')\" && chown 3:4 usr/bin/ls",
	"xattrs": "python3 -c \"import os; os.setxattr('opt/edits/xattrs', 'user.new', b'1'); os.removexattr('opt/edits/xattrs', 'user.ladle.long'); " +
		"os.setxattr('etc', 'user.dir', b'2'); os.setxattr('etc/passwd', 'user.file', b'3')\"",
	"metadata":  "chmod 4711 usr/bin/cat && chown 5:6 etc/debian_version && chown -h 7:8 bin && touch -d 2001-02-03 usr/bin/ls && chmod 0700 . && touch -d 2001-02-04 etc/apt",
	"untouched": "chmod 0700 etc/apt && chmod 0755 etc/apt && touch -r etc/passwd /t && cp -a etc/passwd p && chmod 600 etc/passwd && chmod 644 etc/passwd && mv p etc/passwd2 && touch etc/pam.d/x && rm etc/pam.d/x",
	"renames":   "mv etc/pam.d etc/renamed && mv usr/share/common-licenses usr/share/moved && mv etc/apt opt/apt && mkdir etc/apt",
	"nodes":     "mkfifo fifo && mknod null c 1 3 && mknod opt/block b 7 200 && python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('etc/socket')\" && rm -r opt/edits",
}

// onTree are the same changes to the files of tree.
var onTree = map[string]string{
	"whiteouts":    "rm -r dir/sub gone && rm file",
	"opaque":       "rm -r dir gone && mkdir dir && mkdir -m 0711 gone && echo only >dir/only",
	"types":        "rm -r dir && echo file >dir && rm file && mkdir file && echo inside >file/file && rm symlink && mkfifo symlink && rm -r gone && ln -s dir gone",
	"links":        "ln dir/file dir/sub/file2 && echo changed >>dir/same && echo one >one && ln one two && rm one && ln file again",
	"capabilities": "python3 -c \"import os; os.setxattr('file', 'security.capability', bytes.fromhex('0100000200040000000000000000000000000000'))\" && chown 3:4 dir/file",
	"xattrs":       "python3 -c \"import os; os.removexattr('dir', 'user.dir'); os.setxattr('dir/sub', 'user.sub', b'3'); os.setxattr('dir/same', 'user.same', b'4')\"",
	"metadata":     "chmod 0640 dir/file && chown 9:9 gone && chown -h 7:8 symlink && chmod 0700 . && touch -d 2001-02-03 dir/sub/file",
	"untouched":    "chmod 0700 dir/sub && chmod 0755 dir/sub && touch gone/new && rm gone/new && mv file f && mv f file",
	"renames":      "mv dir renamed && mkdir dir && mv renamed/sub dir/sub && mv gone dir/gone",
	"nodes":        "rm fifo && mknod fifo c 5 1 && mv null dir/null && mkfifo gone/fifo && rm -r empty",
}
