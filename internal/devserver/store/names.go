package store

import (
	"math/rand/v2"
	"strings"
)

const (
	nameAdjectives = `able amber brave brisk calm clever copper crimson daring eager fancy fluffy gentle golden happy
	hidden humble icy jolly keen lively lucky mellow misty noble olive patient proud quick quiet rapid rustic silver simple
	smooth solid sunny swift tidy vivid warm wise witty young zesty`
	nameAnimals = `ant badger bat bear beaver bison camel cat crane crow deer dove duck eagle falcon ferret finch fox frog
	goat goose hare heron horse ibex jackal koala lark lemur lion lynx magpie marmot mole moose otter owl panda pony puma
	raven robin seal shark sloth snail stork swan tiger toad trout viper walrus wolf wombat wren yak zebra`
)

// randomName makes a name of two words for a flow run that was given none.
func randomName() string {
	a, b := strings.Fields(nameAdjectives), strings.Fields(nameAnimals)
	return a[rand.IntN(len(a))] + "-" + b[rand.IntN(len(b))] //nolint:gosec // a name, not a secret
}
