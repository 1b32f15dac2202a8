package logs

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Numbers of the fields of an entry in a queue. They must not change: a queue
// on disk is read by the next version of the program.
const (
	numTime    = 1
	numNode    = 2
	numFamily  = 3
	numLevel   = 4
	numSource  = 5
	numEvent   = 6
	numMessage = 7
	numField   = 8

	numFieldName  = 1
	numFieldValue = 2
)

// Append appends the entry to b in the form of the queues, a protocol buffer.
func (e Entry) Append(b []byte) []byte {
	b = protowire.AppendTag(b, numTime, protowire.Fixed64Type)
	b = protowire.AppendFixed64(b, uint64(e.Time.UnixNano()))
	b = protowire.AppendTag(b, numLevel, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(e.Level))
	b = appendText(b, numNode, e.Node)
	b = appendText(b, numFamily, e.Family)
	b = appendText(b, numSource, string(e.Source))
	b = appendText(b, numEvent, e.Event)
	b = appendText(b, numMessage, e.Message)
	for _, f := range e.Fields {
		b = protowire.AppendTag(b, numField, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(2*protowire.SizeTag(numFieldName)+
			protowire.SizeBytes(len(f.Name))+protowire.SizeBytes(len(f.Value))))
		b = protowire.AppendTag(b, numFieldName, protowire.BytesType)
		b = protowire.AppendString(b, f.Name)
		b = protowire.AppendTag(b, numFieldValue, protowire.BytesType)
		b = protowire.AppendString(b, f.Value)
	}
	return b
}

func appendText(b []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	b = protowire.AppendTag(b, num, protowire.BytesType)
	return protowire.AppendString(b, s)
}

var errMalformed = errors.New("malformed entry")

// Decode reads what Append wrote. Fields that it does not know are left out.
func Decode(b []byte) (Entry, error) {
	var e Entry
	err := eachField(b, func(num protowire.Number, number uint64, text []byte) error {
		switch num {
		case numTime:
			e.Time = time.Unix(0, int64(number))
		case numLevel:
			if number > uint64(Debug) {
				return fmt.Errorf("%w: level %d", errMalformed, number)
			}
			e.Level = Level(number)
		case numNode:
			e.Node = string(text)
		case numFamily:
			e.Family = string(text)
		case numSource:
			e.Source = Source(text)
		case numEvent:
			e.Event = string(text)
		case numMessage:
			e.Message = string(text)
		case numField:
			f, err := decodeField(text)
			if err != nil {
				return err
			}
			e.Fields = append(e.Fields, f)
		}
		return nil
	})
	return e, err
}

func decodeField(b []byte) (f Field, err error) {
	err = eachField(b, func(num protowire.Number, _ uint64, text []byte) error {
		switch num {
		case numFieldName:
			f.Name = string(text)
		case numFieldValue:
			f.Value = string(text)
		}
		return nil
	})
	return f, err
}

// eachField calls take for each field of a message, with its number or its text.
func eachField(b []byte, take func(num protowire.Number, number uint64, text []byte) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("%w: %w", errMalformed, protowire.ParseError(n))
		}
		b = b[n:]
		var number uint64
		var text []byte
		switch typ {
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			number, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			text, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return fmt.Errorf("%w: %w", errMalformed, protowire.ParseError(n))
		}
		b = b[n:]
		if err := take(num, number, text); err != nil {
			return err
		}
	}
	return nil
}
