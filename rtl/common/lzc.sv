// Leading-zero count. The work is done by lzc_node, which instantiates itself; Verilator does not take such a module
// as the top of a design.
module lzc #(
  parameter int unsigned Width = 8,
  localparam int unsigned CountWidth = (Width > 1) ? $clog2(Width) : 1
) (
  input  logic [Width-1:0]      in_i,
  output logic [CountWidth-1:0] count_o,  // zeros above the highest one; 0 if there is none
  output logic                  empty_o   // no bit is set
);

  lzc_node #(
    .Width(Width)
  ) u_root (
    .in_i,
    .count_o,
    .empty_o
  );

endmodule
