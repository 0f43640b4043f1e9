// lib/pq, and pgx 4 by itself.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgx/v4"
	"github.com/lib/pq"
)

func say(client, check string, ok bool, seen interface{}) {
	outcome := "FAILED"
	if ok {
		outcome = "ok"
	}
	fmt.Printf("%s\t%s\t%s\t%v\n", client, check, outcome, seen)
}

// Gives the rows of a statement, as many values as asked for.
type runner func(columns int, sql string, values ...interface{}) ([][]interface{}, error)

func worker(client string, run runner, state func(error) string, span func(time.Duration) interface{}, array func([]int64) interface{}) {
	rows := func(columns int, sql string, values ...interface{}) [][]interface{} {
		rows, err := run(columns, sql, values...)
		if err != nil {
			say(client, sql, false, err)
			os.Exit(1)
		}
		return rows
	}
	var id int64
	for n := 0; n < 6; n++ {
		id = rows(1, "SELECT pgq_push($1, $2, priority => $3)", client, fmt.Sprintf(`{"n": %d}`, n), -n)[0][0].(int64)
	}
	say(client, "push", id > 1<<53, "int64")
	reserve := func(max int) [][]interface{} {
		return rows(2, "SELECT id, delivery FROM pgq_reserve($1, max => $2)", client, max)
	}
	m := reserve(1)[0]
	say(client, "extend", len(rows(2, "SELECT id, id FROM pgq_extend($1, $2, $3)", m[0], span(time.Minute), m[1])) == 1, "")
	say(client, "release", rows(1, "SELECT pgq_release($1, $2, $3)", m[0], span(0), m[1])[0][0] == true, "")
	m = reserve(1)[0]
	say(client, "fail", rows(1, "SELECT outcome FROM pgq_fail($1, $2, $3)", m[0], "no", m[1])[0][0] == "retry", "")
	m = reserve(1)[0]
	say(client, "delete", rows(1, "SELECT pgq_delete($1, $2)", m[0], m[1])[0][0] == true, fmt.Sprintf("%T", m[1]))
	refused := rows(1, "SELECT pgq_delete($1, $2)", m[0], m[1])[0][0]
	say(client, "refused", refused == false, refused)
	_, err := run(1, "SELECT pgq_delete($1, $2, strict => true)", m[0], m[1])
	say(client, "strict", err != nil && state(err) == "P0002", err)
	two := reserve(2)
	ids := []int64{two[0][0].(int64), two[1][0].(int64)}
	deliveries := []int64{two[0][1].(int64), two[1][1].(int64)}
	say(client, "batch", len(rows(1, "SELECT pgq_delete_batch($1, $2)", array(ids), array(deliveries))) == 2, "")
	none := array([]int64{})
	say(client, "empty batch", len(rows(1, "SELECT pgq_delete_batch($1, $2)", none, none)) == 0, "")
	receipt := rows(1, "SELECT receipt FROM pgq_reserve($1, max => $2)", client, 1)[0][0]
	longer := len(rows(1, "SELECT id FROM pgq_extend_by_receipt($1, $2)", receipt, span(time.Minute))) == 1
	say(client, "receipt", longer && rows(1, "SELECT pgq_delete_by_receipt($1)", receipt)[0][0] == true, fmt.Sprintf("%T", receipt))
	_, ok := rows(1, "SELECT oldest_ready_seconds FROM pgq_stats($1)", client)[0][0].(float64)
	say(client, "seconds", ok, "float64")
}

type scanner interface {
	Next() bool
	Scan(...interface{}) error
	Err() error
}

func read(columns int, from scanner) ([][]interface{}, error) {
	var rows [][]interface{}
	for from.Next() {
		values, places := make([]interface{}, columns), make([]interface{}, columns)
		for n := range values {
			places[n] = &values[n]
		}
		if err := from.Scan(places...); err != nil {
			return nil, err
		}
		for n, value := range values {
			if text, ok := value.([]byte); ok {
				values[n] = string(text)
			}
		}
		rows = append(rows, values)
	}
	return rows, from.Err()
}

func main() {
	where := fmt.Sprintf("host=127.0.0.1 port=%s user=%s dbname=%s sslmode=disable", os.Getenv("PGPORT"), os.Getenv("PGUSER"), os.Getenv("PGDATABASE"))
	db, _ := sql.Open("postgres", where)
	overPq := func(columns int, text string, values ...interface{}) ([][]interface{}, error) {
		rows, err := db.Query(text, values...)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		return read(columns, rows)
	}
	stateOfPq := func(err error) string {
		var problem *pq.Error
		errors.As(err, &problem)
		return string(problem.Code)
	}
	asText := func(span time.Duration) interface{} { return span.String() }
	worker("lib/pq", overPq, stateOfPq, asText, func(values []int64) interface{} { return pq.Array(values) })

	connection, err := pgx.Connect(context.Background(), where)
	if err != nil {
		panic(err)
	}
	overPgx := func(columns int, text string, values ...interface{}) ([][]interface{}, error) {
		rows, err := connection.Query(context.Background(), text, values...)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		return read(columns, rows)
	}
	stateOfPgx := func(err error) string {
		var problem *pgconn.PgError
		errors.As(err, &problem)
		return problem.Code
	}
	asIs := func(span time.Duration) interface{} { return span }
	worker("pgx 4", overPgx, stateOfPgx, asIs, func(values []int64) interface{} { return values })
}
