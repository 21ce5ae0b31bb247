// Command standin stands in for two programs in images that critest pulls, and does
// what the tests look at:
//
//   - as nginx, and in the place of httpd, it answers every request on the port that is its
//     argument, says so, writes its process id to /var/run/nginx.pid, and calls itself a
//     master process,
//   - as nnp it prints its effective user id. Its file is set-uid root in the image.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	var err error
	switch name := filepath.Base(strings.Fields(os.Args[0])[0]); strings.TrimSuffix(name, ":") {
	case "nnp":
		_, err = fmt.Printf("Effective uid: %d\n", os.Geteuid())
	case "nginx":
		err = serve()
	default:
		err = fmt.Errorf("standin: nothing is called %q", name)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// title is what a web server calls itself: tests look for it in the list of processes.
const title = "nginx: master process nginx"

func serve() error {
	if os.Args[0] != title {
		return syscall.Exec("/bin/nginx", append([]string{title}, os.Args[1:]...), os.Environ())
	}
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: nginx PORT")
	}
	if err := os.MkdirAll("/var/run", 0o755); err != nil {
		return err
	}
	if err := os.WriteFile("/var/run/nginx.pid", []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644); err != nil {
		return err
	}
	fmt.Println("standing in for nginx and httpd on port", os.Args[1])
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "<h1>Welcome to nginx!</h1>")
	})
	return http.ListenAndServe(net.JoinHostPort("", os.Args[1]), page)
}
