package store

import (
	"context"
	"fmt"
)

// LogLevel is a level of log entries that somebody has set for a node.
type LogLevel struct {
	Node, Source, Level string
}

// SetLogLevel sets the level of a source on a node; an empty level forgets it.
func (s *Store) SetLogLevel(ctx context.Context, l LogLevel) error {
	query, args := `DELETE FROM log_levels WHERE node = $1 AND source = $2`, []any{l.Node, l.Source}
	if l.Level != "" {
		query = `
			INSERT INTO log_levels (node, source, level, updated_at) VALUES ($1, $2, $3, $4)
			ON CONFLICT (node, source) DO UPDATE SET level = excluded.level, updated_at = excluded.updated_at`
		args = append(args, l.Level, milliseconds(s.now()))
	}
	if _, err := s.write.ExecContext(ctx, query, args...); err != nil {
		return fmt.Errorf("set the log level of node %q: %w", l.Node, err)
	}
	return nil
}

// LogLevels returns all levels that were set.
func (s *Store) LogLevels(ctx context.Context) ([]LogLevel, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT node, source, level FROM log_levels ORDER BY node, source`)
	if err != nil {
		return nil, fmt.Errorf("read log levels: %w", err)
	}
	defer rows.Close()
	var all []LogLevel
	for rows.Next() {
		var l LogLevel
		if err := rows.Scan(&l.Node, &l.Source, &l.Level); err != nil {
			return nil, fmt.Errorf("read log levels: %w", err)
		}
		all = append(all, l)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read log levels: %w", err)
	}
	return all, nil
}
