%% What goes wrong in the back office: the printer runs out of paper every three
%% minutes, for one, which is an alarm of alarm_handler; and a print job crashes
%% every two, which is a crash report in the log.
-module(demo_trouble).
-export([start/0]).

-define(FIRST, 20_000).

start() ->
    {ok, _} = application:ensure_all_started(sasl),
    spawn(fun() -> timer:sleep(?FIRST), paper() end),
    spawn(fun() -> timer:sleep(?FIRST), jobs(1) end),
    ok.

paper() ->
    alarm_handler:set_alarm({printer_out_of_paper, "tray 2 is empty"}),
    timer:sleep(60_000),
    alarm_handler:clear_alarm(printer_out_of_paper),
    timer:sleep(120_000),
    paper().

jobs(N) ->
    proc_lib:spawn(fun() -> error({paper_jam, job, N}) end),
    timer:sleep(120_000),
    jobs(N + 1).
