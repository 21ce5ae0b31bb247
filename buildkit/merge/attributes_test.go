package merge_test

import (
	"encoding/binary"
	"os"

	"golang.org/x/sys/unix"
)

// dirAttributes are extended attributes that a directory can have. Default
// access lists are none of them: BuildKit's merge lets them spread to what it
// makes below, and ladle's does not.
var dirAttributes = []string{
	"user.test", "user.other", "trusted.test", "security.capability", "security.other", "system.posix_acl_access",
}

// attribute changes an extended attribute of a file, or one of several of a
// directory, which may also lose it.
func (c changer) attribute(path string, info os.FileInfo) error {
	name := "user.test"
	if info.IsDir() {
		name = dirAttributes[c.r.IntN(len(dirAttributes))]
		if c.r.IntN(4) == 0 {
			if err := unix.Lremovexattr(c.abs(path), name); err != unix.ENODATA {
				return err
			}
			return nil
		}
	} else if !info.Mode().IsRegular() {
		return nil
	}
	value := []byte{byte('0' + c.r.IntN(3))}
	switch name {
	case "security.capability":
		value = append([]byte{1, 0, 0, 2, value[0]}, make([]byte, 15)...)
	case "system.posix_acl_access":
		value = accessList(uint16(c.r.IntN(8)))
	}
	return unix.Lsetxattr(c.abs(path), name, value, 0)
}

// accessList lets user 7 have perm, and masks what the group has (Linux
// include/uapi/linux/posix_acl_xattr.h).
func accessList(perm uint16) []byte {
	const nobody = ^uint32(0)
	value := binary.LittleEndian.AppendUint32(nil, 2) // version
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{1, 7, nobody}, {2, perm, 7}, {4, 5, nobody}, {0x10, perm | 1, nobody}, {0x20, 5, nobody}} {
		value = binary.LittleEndian.AppendUint16(value, e.tag)
		value = binary.LittleEndian.AppendUint16(value, e.perm)
		value = binary.LittleEndian.AppendUint32(value, e.id)
	}
	return value
}
