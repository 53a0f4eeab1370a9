// Leading-zero count by halves: a node of the tree adds one bit to the counts of its two children.
module lzc #(
  parameter int unsigned Width = 8,
  localparam int unsigned CountWidth = (Width > 1) ? $clog2(Width) : 1
) (
  input  logic [Width-1:0]      in_i,
  output logic [CountWidth-1:0] count_o,  // zeros above the highest one; 0 if there is none
  output logic                  empty_o   // no bit is set
);

  localparam int unsigned Levels = (Width > 1) ? $clog2(Width) : 1;
  localparam int unsigned Leaves = 1 << Levels;

  // Node n has children 2n and 2n+1; the root is 1 and the leaves, highest bit first, begin at Leaves.
  logic any[1:2*Leaves-1];
  logic [CountWidth-1:0] count[1:2*Leaves-1];

  for (genvar leaf = 0; leaf < Leaves; leaf++) begin : gen_leaf
    if (leaf < Width) begin : gen_bit
      assign any[Leaves+leaf] = in_i[Width-1-leaf];
    end else begin : gen_padding
      assign any[Leaves+leaf] = 1'b0;
    end
    assign count[Leaves+leaf] = '0;
  end

  for (genvar node = 1; node < Leaves; node++) begin : gen_node
    localparam int unsigned Depth = $clog2(node + 1) - 1;
    localparam int unsigned Weight = Levels - 1 - Depth;
    assign any[node] = any[2*node] | any[2*node+1];
    assign count[node] = any[2*node] ? count[2*node] : (count[2*node+1] | CountWidth'(1 << Weight));
  end

  assign empty_o = ~any[1];
  assign count_o = any[1] ? count[1] : '0;

endmodule
