package layer

// For the tests of what is linked to what.
var LinkedTo = linkedTo

const MaxNames = maxNames
