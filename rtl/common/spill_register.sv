// A register that cuts every combinational path through a valid/ready handshake. While the consumer stalls, a
// second register takes the item that the producer was already told would be accepted.
`include "assertions.svh"

module spill_register #(
  parameter int unsigned Width = 8
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             valid_i,
  output logic             ready_o,
  input  logic [Width-1:0] data_i,
  output logic             valid_o,
  input  logic             ready_i,
  output logic [Width-1:0] data_o
);

  logic main_valid_q, main_valid_d;
  logic spill_valid_q, spill_valid_d;
  logic [Width-1:0] main_q, spill_q;
  logic load_main, load_spill;

  assign ready_o = ~spill_valid_q;
  assign valid_o = main_valid_q;
  assign data_o  = main_q;

  // The main register is filled from the spill register first: that item is older.
  assign load_main  = (ready_i | ~main_valid_q) & (spill_valid_q | valid_i);
  assign load_spill = valid_i & ready_o & main_valid_q & ~ready_i;

  assign main_valid_d  = load_main | (main_valid_q & ~ready_i);
  assign spill_valid_d = load_spill | (spill_valid_q & ~(ready_i | ~main_valid_q));

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      main_valid_q  <= 1'b0;
      spill_valid_q <= 1'b0;
    end else begin
      main_valid_q  <= main_valid_d;
      spill_valid_q <= spill_valid_d;
    end
  end

  always_ff @(posedge clk_i) begin
    if (load_main) main_q <= spill_valid_q ? spill_q : data_i;
    if (load_spill) spill_q <= data_i;
  end

  `POTLUCK_ASSERT_STABLE(Output, valid_o, ready_i, data_o)
  `POTLUCK_ASSERT(SpillImpliesMain, spill_valid_q |-> main_valid_q)

endmodule
