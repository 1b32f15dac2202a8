package agent

// Sever closes the connection as the end of the process would.
func (s *Session) Sever() { _ = s.conn.Close() }

// StopRenewing lets the lease run out while the connection lives.
func (s *Session) StopRenewing() { close(s.stopRenewing) }
