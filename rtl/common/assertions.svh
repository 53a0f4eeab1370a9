// Assertions that only simulators with concurrent properties see; synthesis and Icarus skip them.
`ifndef POTLUCK_ASSERTIONS_SVH
`define POTLUCK_ASSERTIONS_SVH

`ifdef VERILATOR
  `define POTLUCK_ASSERT(Name, Property) \
    Name: assert property (@(posedge clk_i) disable iff (!rst_ni) (Property)) \
      else $error("%m: %s", `"Property`");
`else
  `define POTLUCK_ASSERT(Name, Property)
`endif

// A producer that has raised valid keeps it and the payload until ready answers.
`define POTLUCK_ASSERT_STABLE(Name, Valid, Ready, Payload) \
  `POTLUCK_ASSERT(Name``Held, (Valid) && !(Ready) |=> (Valid)) \
  `POTLUCK_ASSERT(Name``Stable, (Valid) && !(Ready) |=> $stable(Payload))

`endif
