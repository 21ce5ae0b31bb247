package link

import (
	"bufio"
	"io"
	"net/http"
)

// exchange follows the HTTP/1 messages of one connection. What is not HTTP/1
// (TLS, HTTP/2) is relayed all the same, and counted in bytes only. The client
// has to speak first.
type exchange struct {
	tally   *tally
	pending chan outstanding // requests in the order their responses must come
	up      *io.PipeWriter   // the client's stream is copied into it
	down    *io.PipeWriter   // the server's
}

type outstanding struct {
	request *http.Request
	ticket  ticket
}

// maxPipelined bounds the requests of one connection that wait for a response;
// past it the connection's requests are no longer followed.
const maxPipelined = 1024

func newExchange(t *tally) *exchange {
	upR, upW := io.Pipe()
	downR, downW := io.Pipe()
	e := &exchange{tally: t, pending: make(chan outstanding, maxPipelined), up: upW, down: downW}
	go e.requests(upR)
	go e.responses(downR)
	return e
}

// close ends the following of the connection; requests without a response are
// no longer in flight.
func (e *exchange) close() {
	e.up.Close()
	e.down.Close()
}

func (e *exchange) requests(r *io.PipeReader) {
	e.followRequests(bufio.NewReader(r))
	close(e.pending)
	io.Copy(io.Discard, r)
}

func (e *exchange) followRequests(br *bufio.Reader) {
	if first, err := br.Peek(1); err != nil || first[0] < 'A' || first[0] > 'Z' {
		return // no HTTP method starts like this; TLS does
	}
	for {
		request, err := http.ReadRequest(br)
		if err != nil || request.ProtoMajor != 1 {
			return
		}
		k := e.tally.start(Request{Method: request.Method, Path: request.URL.Path, Range: request.Header.Get("Range")})
		select {
		case e.pending <- outstanding{request, k}:
		default:
			e.tally.end(k, 0, 0)
			return
		}
		if _, err := io.Copy(io.Discard, request.Body); err != nil {
			return
		}
	}
}

func (e *exchange) responses(r *io.PipeReader) {
	br := bufio.NewReaderSize(r, segmentSize)
	for o := range e.pending {
		status, n, err := readResponse(br, o.request)
		e.tally.end(o.ticket, status, n)
		if err != nil {
			break
		}
	}
	go func() { // the connection is closed, or no longer understood
		for o := range e.pending {
			e.tally.end(o.ticket, 0, 0)
		}
	}()
	io.Copy(io.Discard, r)
}

// readResponse reads one response to its end, past informational ones.
func readResponse(br *bufio.Reader, request *http.Request) (status int, bytes int64, err error) {
	for {
		response, err := http.ReadResponse(br, request)
		if err != nil {
			return 0, 0, err
		}
		if response.StatusCode < 200 {
			continue
		}
		n, err := io.Copy(io.Discard, response.Body)
		return response.StatusCode, n, err
	}
}
