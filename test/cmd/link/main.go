// Command link relays TCP connections to a server over a simulated network link.
//
//	link -target 127.0.0.1:5000 [-listen 127.0.0.1:5001] [-profile 20ms/200Mbit] [-admin 127.0.0.1:5002]
//
// It prints its address and that of its counters when it is ready, and runs
// until it is interrupted. The counters are served over HTTP:
//
//	GET  /counters               bytes, requests, connections
//	GET  /requests               every request, with range, status and times
//	POST /reset                  start counting anew
//	POST /profile?p=50ms/100Mbit change the link
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"

	"github.com/ladle-dev/ladle/test/command"
	"github.com/ladle-dev/ladle/test/link"
)

func main() { command.Main(run) }

func run(ctx context.Context) error {
	target := flag.String("target", "", "host:port of the server")
	listen := flag.String("listen", "127.0.0.1:0", "address of the link")
	profile := flag.String("profile", "20ms/200Mbit", "round-trip time and bandwidth")
	admin := flag.String("admin", "127.0.0.1:0", "address of the counters")
	flag.Parse()
	if *target == "" {
		return fmt.Errorf("link: -target is required")
	}
	p, err := link.ParseProfile(*profile)
	if err != nil {
		return err
	}
	l, err := link.ListenOn(*listen, *target, p)
	if err != nil {
		return err
	}
	defer l.Close()
	counters, err := net.Listen("tcp", *admin)
	if err != nil {
		return err
	}
	defer counters.Close()
	go http.Serve(counters, routes(l))
	fmt.Printf("link %s\nadmin %s\n", l.Addr(), counters.Addr())
	<-ctx.Done()
	return nil
}

func routes(l *link.Link) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /counters", func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(l.Counters()) })
	mux.HandleFunc("GET /requests", func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(l.Requests()) })
	mux.HandleFunc("POST /reset", func(http.ResponseWriter, *http.Request) { l.Reset() })
	mux.HandleFunc("POST /profile", func(w http.ResponseWriter, r *http.Request) {
		p, err := link.ParseProfile(r.FormValue("p"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		l.SetProfile(p)
	})
	return mux
}
