// Package idmap shows files with other owners than they have on disk, for containers in a
// user namespace.
//
// The kernel knows users and groups by the ids of the host. In a user namespace they have
// other numbers: a Mapping, of the host's id 100000 to 0, say, in ranges as
// user_namespaces(7) has them in uid_map. The files of an image belong to the ids of the
// container (0, root). A process of the container has the id 100000, and is no owner of them,
// unless they are looked at through an idmapped mount (Linux 5.12; mount_setattr(2),
// MOUNT_ATTR_IDMAP), which shows an owner 0 as 100000.
//
// A Mapping can be made a user namespace (Namespace), and a directory can be mounted a second
// time with mapped owners (Clone).
//
// Filesystems can be cloned so since different versions: ext4 and xfs since Linux 5.12, btrfs
// since 5.15, EROFS since 5.19, FUSE since 6.12 if its server agrees. overlayfs takes such a
// mount as a lowerdir since 5.19.
package idmap
