package idmap

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Range maps Size ids of a container, from Container on, to ids of the host, from Host on.
type Range struct{ Container, Host, Size uint32 }

// Mapping maps the ids of a container to those of the host. The ranges of each kind are in
// the order of the container's ids. The zero Mapping stands for no mapping.
type Mapping struct{ Users, Groups []Range }

const (
	maxID     = 1<<32 - 2 // 2^32-1 stands for no id (chown(2))
	maxRanges = 340       // Linux 4.15: UID_GID_MAP_MAX_EXTENTS
	// maxText bounds the ranges in bytes, as they are written to uid_map: less than a page
	// (Linux kernel/user_namespace.c, map_write).
	maxText = 4096 - 1
)

// Parse returns the mapping with ranges CONTAINER:HOST:SIZE, in decimal and separated by
// commas, for users and for groups. It returns an error for what is no mapping to the kernel,
// or leaves the container without the id 0: the owner of its root directory.
func Parse(users, groups string) (m Mapping, err error) {
	if m.Users, err = parseRanges(users); err != nil {
		return Mapping{}, fmt.Errorf("mapping of user ids %q: %w", users, err)
	}
	if m.Groups, err = parseRanges(groups); err != nil {
		return Mapping{}, fmt.Errorf("mapping of group ids %q: %w", groups, err)
	}
	return m, nil
}

func parseRanges(list string) ([]Range, error) {
	var ranges []Range
	for field := range strings.SplitSeq(list, ",") {
		r, err := parseRange(field)
		if err != nil {
			return nil, err
		}
		if ranges = append(ranges, r); len(ranges) > maxRanges {
			return nil, fmt.Errorf("more than %d ranges", maxRanges)
		}
	}
	if err := checkDisjoint(ranges, func(r Range) uint32 { return r.Host }); err != nil {
		return nil, err
	}
	// The last order is by ids of the container.
	if err := checkDisjoint(ranges, func(r Range) uint32 { return r.Container }); err != nil {
		return nil, err
	}
	switch {
	case len(text(ranges)) > maxText:
		return nil, fmt.Errorf("longer than %d bytes", maxText)
	case ranges[0].Container != 0:
		return nil, errors.New("the id 0 of the container is not mapped")
	}
	return ranges, nil
}

func parseRange(field string) (Range, error) {
	var ids []uint32
	for number := range strings.SplitSeq(field, ":") {
		id, err := strconv.ParseUint(number, 10, 32)
		if err != nil {
			return Range{}, fmt.Errorf("%q: %w", field, err)
		}
		ids = append(ids, uint32(id))
	}
	if len(ids) != 3 {
		return Range{}, fmt.Errorf("%q is not CONTAINER:HOST:SIZE", field)
	}
	r := Range{ids[0], ids[1], ids[2]}
	if r.Size == 0 || last(r.Container, r.Size) > maxID || last(r.Host, r.Size) > maxID {
		return Range{}, fmt.Errorf("%q has no ids, or ids above %d", field, uint32(maxID))
	}
	return r, nil
}

// last returns the last id of a range.
func last(first, size uint32) uint64 { return uint64(first) + uint64(size) - 1 }

// checkDisjoint sorts ranges by one side, and returns an error if an id is in two of them.
func checkDisjoint(ranges []Range, side func(Range) uint32) error {
	slices.SortFunc(ranges, func(a, b Range) int { return cmp.Compare(side(a), side(b)) })
	for i := 1; i < len(ranges); i++ {
		if uint64(side(ranges[i])) <= last(side(ranges[i-1]), ranges[i-1].Size) {
			return fmt.Errorf("the id %d is in two ranges", side(ranges[i]))
		}
	}
	return nil
}

// text returns ranges as Parse reads them. It is as long as what is written to uid_map.
func text(ranges []Range) string {
	var fields []string
	for _, r := range ranges {
		fields = append(fields, fmt.Sprintf("%d:%d:%d", r.Container, r.Host, r.Size))
	}
	return strings.Join(fields, ",")
}

// Text returns the two arguments of Parse for m. Equal mappings have equal texts.
func (m Mapping) Text() (users, groups string) { return text(m.Users), text(m.Groups) }

// String is the texts of m, separated by a space.
func (m Mapping) String() string {
	users, groups := m.Text()
	return users + " " + groups
}

// Name is a name for m in paths: 16 characters, which no other mapping has.
func (m Mapping) Name() string {
	sum := sha256.Sum256([]byte(m.String()))
	return hex.EncodeToString(sum[:8])
}

// IsNone reports whether m maps nothing: it is the zero Mapping, or maps all ids to
// themselves.
func (m Mapping) IsNone() bool {
	all := []Range{{0, 0, maxID + 1}}
	return len(m.Users) == 0 || slices.Equal(m.Users, all) && slices.Equal(m.Groups, all)
}

// Root returns the host's ids of the container's root. m is not the zero Mapping.
func (m Mapping) Root() (user, group uint32) { return m.Users[0].Host, m.Groups[0].Host }

// User returns the host's id of a user of the container, or false if it has none.
func (m Mapping) User(id uint32) (uint32, bool) { return host(m.Users, id) }

// Group returns the host's id of a group of the container, or false if it has none.
func (m Mapping) Group(id uint32) (uint32, bool) { return host(m.Groups, id) }

func host(ranges []Range, id uint32) (uint32, bool) {
	for _, r := range ranges {
		if id >= r.Container && uint64(id) <= last(r.Container, r.Size) {
			return r.Host + (id - r.Container), true
		}
	}
	return 0, false
}
