// Package erofs writes tree images: EROFS images that hold the metadata of a
// tree and, in place of file contents, the addresses of blocks on other
// devices, the data files of the layers. The kernel mounts such an image with
// one device= option per layer (Linux 5.16, from plain files since 6.12).
//
// The on-disk format is that of Linux fs/erofs/erofs_fs.h. Images use 4096
// byte blocks, extended inodes, inline directories and symbolic links, and
// one chunk index per file of up to 8 TiB. They are reproducible: equal trees and options
// give equal bytes.
//
// The UUID in the superblock is derived from all else in the image and from
// Options.FirstNID, so that two images have the same one only if they are the
// same. Overlayfs knows by it from which lower filesystem a file was copied up,
// and trusts no filesystem without one (Linux fs/overlayfs/super.c,
// ovl_lower_uuid_ok).
//
// # Terms
//
// A record is an inode with what follows it: its extended attributes and its
// tail or chunk indexes. Records start in slots of 32 bytes; the number of a
// record's slot, counted from the start of the image, is its nid, which the
// kernel reports as st_ino. Content is what the image itself holds of a
// directory (its entries) or a symbolic link (its target). The tail of content
// is its last, incomplete block, which lies in the record if that keeps the
// record within one block. All else of content is in whole blocks.
//
// # Layout
//
//	1024   superblock, 128 bytes
//	1152   device table, 128 bytes per device
//	       record of the root directory; its nid has only 16 bits
//	       content blocks
//	       a hole, if Options.FirstNID asks for one
//	       all other records: the records of a directory's entries side by
//	       side, one directory after the other, depth first
package erofs
