package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

const (
	// socketName is what the path of a lender's socket ends in.
	socketName = "credentials.ladle"

	// askTimeout bounds the answers of all lenders of a repository together.
	askTimeout = 10 * time.Second

	// maxAnswer bounds an answer, in bytes: some tokens have several KiB.
	maxAnswer = 64 << 10

	// maxImages bounds the images of one blob that a lender can name.
	maxImages = 8

	// maxLife bounds how long a token is believed to live.
	maxLife = 365 * 24 * time.Hour
)

var (
	// errNobody is the error of a lender of which no connected client may read the image.
	errNobody = errors.New("no client that may read the image is connected to the lender")

	// errUnknown is the error of an older lender, which does not implement the request.
	errUnknown = errors.New("the lender does not know the request")
)

// askLender asks the lender at socket for the answer to c. Errors do not contain the
// lender's answer, which may be secret.
func askLender(ctx context.Context, socket string, c Challenge) (Login, error) {
	query := url.Values{"host": {c.Host}, "repository": {c.Repository}}
	if c.Realm == "" {
		return askForLogin(ctx, socket, "/credentials", query)
	}
	asked := maps.Clone(query)
	asked["realm"], asked["service"], asked["scope"] = []string{c.Realm}, []string{c.Service}, c.Scopes
	l, err := askForLogin(ctx, socket, "/token", asked)
	if errors.Is(err, errUnknown) {
		return askForLogin(ctx, socket, "/credentials", query)
	}
	return l, err
}

func askForLogin(ctx context.Context, socket, path string, query url.Values) (Login, error) {
	var answer struct {
		Username string `json:"username"`
		Secret   string `json:"secret"`
		Token    string `json:"token"`
		Expires  int64  `json:"expires_in"` // seconds
	}
	if err := get(ctx, socket, path, query, &answer); err != nil {
		return Login{}, err
	}
	life := min(max(answer.Expires, 0), int64(maxLife/time.Second))
	return Login{User: answer.Username, Secret: answer.Secret, Token: answer.Token, Life: time.Duration(life) * time.Second}, nil
}

// askForImages asks the lender at socket for references of images that have a blob.
func askForImages(ctx context.Context, socket string, blob digest.Digest) ([]string, error) {
	var answer struct {
		Images []string `json:"images"`
	}
	err := get(ctx, socket, "/images", url.Values{"blob": {string(blob)}}, &answer)
	if err != nil {
		return nil, err
	}
	return answer.Images[:min(len(answer.Images), maxImages)], nil
}

// get sends a request to the lender at socket, and decodes the answer into *to.
func get(ctx context.Context, socket, path string, query url.Values, to any) error {
	target := url.URL{Scheme: "http", Host: "ladle", Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, socket) },
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxAnswer,
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return readAnswer(resp.Body, to)
	case http.StatusNotFound:
		return errNobody
	case http.StatusBadRequest:
		return errUnknown
	}
	return fmt.Errorf("answered with status %d", resp.StatusCode)
}

// readAnswer reads the body of an answer 200.
func readAnswer(body io.Reader, to any) error {
	text, err := io.ReadAll(io.LimitReader(body, maxAnswer+1))
	if err != nil {
		return err
	}
	if len(text) > maxAnswer {
		return fmt.Errorf("answer of more than %d bytes", maxAnswer)
	}
	if json.Unmarshal(text, to) != nil {
		return errors.New("answer not understood")
	}
	return nil
}

// dial connects to a lender's socket. The socket and the process that listens on it must
// belong to root or to the user of this process.
func dial(ctx context.Context, socket string) (net.Conn, error) {
	if !filepath.IsAbs(socket) || filepath.Base(socket) != socketName {
		return nil, fmt.Errorf("not the path of a socket %s", socketName)
	}
	info, err := os.Lstat(socket)
	if err != nil {
		return nil, err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return nil, errors.New("not a socket")
	}
	if err := trust(info.Sys().(*syscall.Stat_t).Uid); err != nil {
		return nil, fmt.Errorf("the socket %w", err)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	listener, err := listenerOf(conn.(*net.UnixConn))
	if err == nil {
		err = trust(listener)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("who listens %w", err), conn.Close())
	}
	return conn, nil
}

// trust returns an error unless user is root or the user of this process.
func trust(user uint32) error {
	if user != 0 && int64(user) != int64(os.Geteuid()) {
		return fmt.Errorf("belongs to user %d, who is neither root nor ladle", user)
	}
	return nil
}

// listenerOf returns the user id of the process that listened on the socket that conn is
// connected to (unix(7), SO_PEERCRED).
func listenerOf(conn *net.UnixConn) (user uint32, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	asked := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err = errors.Join(asked, os.NewSyscallError("getsockopt", err)); err != nil {
		return 0, fmt.Errorf("is not known: %w", err)
	}
	return cred.Uid, nil
}
