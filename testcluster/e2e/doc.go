// Package e2e holds the end-to-end tests: the built prefect-kube, a real Prefect client, a real flow in a real Pod.
//
// The tests know the program only from outside, by its command line, its HTTP side and what it does in the cluster. Each
// has a namespace, a backend, agents and a folder of its own, so they run side by side, as many as there are cores. Tests
// of what happens before a Pod forbid Pods in their namespace. A proxy between agent and backend decides when an answer or
// a claim passes. A test that fails prints the programs' logs and what its namespace holds.
//
// Where no cluster with a real node can be had they skip with one reason, and fail instead when CI=true.
package e2e
