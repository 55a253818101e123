package status

import "net"

// SetListener gives the server a listener before Run opens one.
func (s *Server) SetListener(l net.Listener) { s.l = l }
