package status

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	readTimeout  = 5 * time.Second
	writeTimeout = 10 * time.Second
	idleTimeout  = 60 * time.Second
	stopTimeout  = 2 * time.Second
	maxHeader    = 16 << 10
)

// Options are the parts of a Server.
type Options struct {
	// Address is where to listen, in the form of the reference: blank is nowhere,
	// http://:8080 is port 8080 on all interfaces.
	Address string
	// Health is what the answers are made of.
	Health *Health
	// Poke ends the pause of the loop that polls. It must not block.
	Poke func()
	// Logger gets one line when the server listens.
	Logger *slog.Logger
}

// Server answers on the agent's address.
type Server struct {
	o       Options
	address string
	l       net.Listener
}

// New checks the address. It opens nothing.
func New(o Options) (*Server, error) {
	address, err := ParseAddress(o.Address)
	if err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{o: o, address: address}, nil
}

// ParseAddress turns the reference's form of an address into host:port, blank
// into blank. As in agent.py, a port is required and a missing host means all
// interfaces.
func ParseAddress(address string) (string, error) {
	address = strings.TrimSpace(address)
	if address == "" {
		return "", nil
	}
	// Like Python's urlparse: without a scheme there is no port. The scheme itself
	// does not matter; what is served is plain HTTP.
	u, err := url.Parse(address)
	if err != nil || u.Port() == "" {
		return "", errors.New("must specify port in agent address")
	}
	if _, err := strconv.ParseUint(u.Port(), 10, 16); err != nil {
		return "", fmt.Errorf("agent address: port %s is out of range", u.Port())
	}
	return net.JoinHostPort(u.Hostname(), u.Port()), nil
}

// Listen opens the listener, so that a port in use is found before anything is
// started. With a blank address it does nothing. Run listens itself if nobody did.
func (s *Server) Listen(ctx context.Context) error {
	if s.address == "" || s.l != nil {
		return nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", s.address)
	if err != nil {
		return fmt.Errorf("agent address %s: %w; name a free one of this machine with --agent-address", s.o.Address, err)
	}
	s.l = l
	return nil
}

// Addr is host:port of the listener, empty if there is none.
func (s *Server) Addr() string {
	if s.l == nil {
		return ""
	}
	return s.l.Addr().String()
}

// Run serves until the context ends and then lets running answers finish. It
// returns nil on a clean stop. With a blank address it only waits.
func (s *Server) Run(ctx context.Context) error {
	if err := s.Listen(ctx); err != nil {
		return err
	}
	if s.l == nil {
		<-ctx.Done()
		return nil
	}
	s.o.Logger.InfoContext(ctx, "agent address served", slog.String("address", s.Addr()))
	srv := &http.Server{
		Handler:           s.Handler(),
		ReadTimeout:       readTimeout,
		ReadHeaderTimeout: readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.o.Logger.Handler(), slog.LevelDebug),
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return closed(srv.Serve(s.l)) })
	group.Go(func() error {
		<-ctx.Done()
		return stop(context.WithoutCancel(ctx), srv)
	})
	return group.Wait()
}

func closed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve agent address: %w", err)
}

// stop waits for running answers for a moment and then cuts them off.
func stop(ctx context.Context, srv *http.Server) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		return srv.Close()
	}
	return nil
}
