package config

import (
	"fmt"
	"net/http"
)

// Headers returns the headers of requests to the mirror.
func (m *Mirror) Headers() (http.Header, error) {
	header := http.Header{}
	for name, value := range m.Header {
		switch v := value.(type) {
		case string:
			header.Add(name, v)
		case []any:
			for _, one := range v {
				s, ok := one.(string)
				if !ok {
					return nil, fmt.Errorf("%s: %v is not a string", name, one)
				}
				header.Add(name, s)
			}
		default:
			return nil, fmt.Errorf("%s: %v is neither a string nor a list of strings", name, value)
		}
	}
	return header, nil
}
