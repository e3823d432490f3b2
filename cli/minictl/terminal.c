#include "cli/minictl/terminal.h"

#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static struct termios before;
static volatile sig_atomic_t raw;

bool terminal_usable(void)
{
	if (isatty(STDIN_FILENO))
		return true;
	fputs("Unable to use a TTY - input is not a terminal or the right kind of file\n", stderr);
	return false;
}

void terminal_restore(void)
{
	if (!raw)
		return;
	raw = 0;
	(void)tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
}

static void on_deadly(int sig)
{
	terminal_restore();
	(void)raise(sig); /* its handler was for once */
}

void terminal_raw(void)
{
	static const int deadly[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};
	struct termios t;
	if (tcgetattr(STDIN_FILENO, &before) < 0)
		return;
	const struct sigaction sa = {.sa_handler = on_deadly, .sa_flags = (int)SA_RESETHAND};
	for (unsigned i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++)
		(void)sigaction(deadly[i], &sa, NULL);
	t = before;
	cfmakeraw(&t);
	raw = 1;
	(void)tcsetattr(STDIN_FILENO, TCSADRAIN, &t);
}

bool terminal_size(uint16_t *ret_columns, uint16_t *ret_rows)
{
	struct winsize ws;
	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &ws) < 0 || !ws.ws_col || !ws.ws_row)
		return false;
	*ret_columns = ws.ws_col;
	*ret_rows = ws.ws_row;
	return true;
}
