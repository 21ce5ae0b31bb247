// Command installtest is `ladle install` that kills itself, for tests of what the next run makes
// of that.
//
//	installtest PROGRAM STEP [undo]
//
// installs PROGRAM on the host, and ends by SIGKILL before STEP. Without that step it ends as
// any other command. STEP "?" prints all steps.
package main
