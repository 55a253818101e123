package graphql

// maxAnswer bounds an answer: its text, and what is in memory before there is
// one. Rows and aliases multiply, so it is looked at while rows are read.
const maxAnswer = 64 << 20

// What a row and one value or key of an answer take in memory beside their text.
const (
	rowWeight   = 64
	valueWeight = 32
)

// budget is what is left for the answer of one request.
type budget struct{ left int }

// take reports an error if the answer would become too large.
func (b *budget) take(n int) error {
	if b.left -= n; b.left < 0 {
		return errTooLarge()
	}
	return nil
}

func errTooLarge() *Error { return input("answer is larger than %d bytes; add a limit", maxAnswer) }

// weight is what a row takes in memory.
func weight(row []any) int {
	n := rowWeight + valueWeight*len(row)
	for _, v := range row {
		switch v := v.(type) {
		case string:
			n += len(v)
		case []byte:
			n += len(v)
		}
	}
	return n
}
