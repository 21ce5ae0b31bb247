package link

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Profile is how a link behaves. The zero value adds no delay and no limit.
type Profile struct {
	RTT       time.Duration // round-trip time
	Bandwidth int64         // bits per second and direction; 0 is no limit
}

// String is like "20ms/200Mbit".
func (p Profile) String() string {
	rate := "unlimited"
	switch {
	case p.Bandwidth == 0:
	case p.Bandwidth%1e9 == 0:
		rate = fmt.Sprintf("%dGbit", p.Bandwidth/1e9)
	case p.Bandwidth%1e6 == 0:
		rate = fmt.Sprintf("%dMbit", p.Bandwidth/1e6)
	default:
		rate = fmt.Sprintf("%dbit", p.Bandwidth)
	}
	return p.RTT.String() + "/" + rate
}

// ParseProfile reads what String writes.
func ParseProfile(s string) (Profile, error) {
	rtt, rate, ok := strings.Cut(s, "/")
	if !ok {
		return Profile{}, fmt.Errorf("link: %q is not like 20ms/200Mbit", s)
	}
	delay, err := time.ParseDuration(rtt)
	if err != nil || delay < 0 {
		return Profile{}, fmt.Errorf("link: %q is not a round-trip time", rtt)
	}
	if rate == "unlimited" {
		return Profile{RTT: delay}, nil
	}
	for suffix, unit := range map[string]int64{"Gbit": 1e9, "Mbit": 1e6, "kbit": 1e3} {
		if number, ok := strings.CutSuffix(rate, suffix); ok {
			n, err := strconv.ParseInt(number, 10, 64)
			if err != nil || n <= 0 {
				return Profile{}, fmt.Errorf("link: %q is not a bandwidth", rate)
			}
			return Profile{RTT: delay, Bandwidth: n * unit}, nil
		}
	}
	return Profile{}, fmt.Errorf("link: %q is not a bandwidth in kbit, Mbit or Gbit", rate)
}
