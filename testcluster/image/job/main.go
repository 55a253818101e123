// Command job stands in for a flow: it prints the flow run's id, waits a second and exits with JOB_EXIT.
package main

import (
	"os"
	"strconv"
	"time"
)

func main() {
	_, _ = os.Stdout.WriteString("flow run " + os.Getenv("PREFECT__CONTEXT__FLOW_RUN_ID") + "\n")
	time.Sleep(time.Second)
	status, _ := strconv.Atoi(os.Getenv("JOB_EXIT")) // unset or unreadable means success
	os.Exit(status)
}
