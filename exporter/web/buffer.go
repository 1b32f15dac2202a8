package web

import (
	"context"
	"crypto/tls"
	"net"
)

// writeBuffer is what may be on its way to a client. Linux takes twice as much,
// for its own bookkeeping; left alone, it would let it grow to megabytes for a
// client that asks for a stream and reads nothing.
const writeBuffer = 128 << 10

// boundBuffer bounds the buffer of a new connection.
func boundBuffer(ctx context.Context, conn net.Conn) context.Context {
	if secured, ok := conn.(*tls.Conn); ok {
		conn = secured.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(writeBuffer) // a connection that has gone shows at the next write
	}
	return ctx
}
