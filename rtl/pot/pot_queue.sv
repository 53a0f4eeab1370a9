// The accelerator's registers, and its queue: commands are read from L1 one after the other, eight bytes a cycle, and
// each is checked before the next one is read. The first one that is refused leaves its status and number, and no more
// of the queue is read; until a reset, doorbells are not heard.
`include "assertions.svh"

module pot_queue
  import potluck_pot_pkg::*;
  import potluck_pot_command_pkg::*;
(
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic [63:0] l1_begin_i,
  input  logic [63:0] l1_end_i,

  // Registers. A doorbell, a reset and a load of WAIT are answered when all is done.
  input  logic        register_valid_i,
  input  logic        register_write_i,
  input  logic [7:0]  register_address_i,
  input  logic [63:0] register_data_i,
  output logic        register_ready_o,
  output logic [63:0] register_data_o,

  // Words of the queue, in the order in which they are asked for.
  output logic        fetch_valid_o,
  output logic [63:0] fetch_address_o,
  input  logic        fetch_ready_i,
  input  logic        fetched_valid_i,
  input  logic [63:0] fetched_data_i,

  output logic        clear_o,   // a reset
  output logic        rewind_o,  // another queue
  output logic        check_o,
  output command_t    words_o,
  output logic        ends_o,
  input  logic        checked_i,
  input  status_e     status_i,
  input  logic        ready_i,   // with checked_i and after it: the command's engine takes it
  output logic        commit_o,

  input  logic        busy_i     // engines work
);

  typedef enum logic [2:0] {
    Idle,
    Fetch,
    Start,
    Check,
    Give
  } state_e;

  state_e state_q;
  status_e status_q;
  logic [15:0] refused_q, index_q, count_q;
  logic [63:0] queue_q, address_q;
  logic [3:0] asked_q;
  logic [2:0] taken_q;
  logic [7:0][63:0] words_q;

  logic idle, ring, in_l1;
  logic [64:0] queue_end;
  assign idle      = (state_q == Idle) & ~busy_i;
  assign queue_end = 65'(queue_q) + {43'd0, register_data_i[15:0], 6'd0};
  assign in_l1     = queue_q[2:0] == '0 && queue_q >= l1_begin_i && queue_end <= {1'b0, l1_end_i};
  assign ring      = register_valid_i & register_write_i & (register_address_i == REGISTER_DOORBELL) & idle
                   & (status_q == OK);
  assign clear_o   = register_valid_i & register_write_i & (register_address_i == REGISTER_RESET) & idle;
  assign rewind_o  = ring;

  always_comb begin
    case (register_address_i)
      REGISTER_DOORBELL, REGISTER_RESET: register_ready_o = ~register_write_i | idle;
      REGISTER_WAIT:                     register_ready_o = register_write_i | idle;
      default:                           register_ready_o = 1'b1;
    endcase
    case (register_address_i)
      REGISTER_QUEUE:                register_data_o = queue_q;
      REGISTER_STATE, REGISTER_WAIT: register_data_o = {32'd0, refused_q, 7'd0, ~idle, 8'(status_q)};
      default:                       register_data_o = '0;
    endcase
  end

  assign fetch_valid_o   = (state_q == Fetch) & (asked_q != 4'd8);
  assign fetch_address_o = address_q;
  assign check_o         = state_q == Start;
  assign words_o         = words_q;
  assign ends_o          = index_q == count_q - 16'd1;
  assign commit_o        = (state_q == Give) & ready_i;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q   <= Idle;
      status_q  <= OK;
      refused_q <= '0;
      index_q   <= '0;
      count_q   <= '0;
      queue_q   <= '0;
      address_q <= '0;
      asked_q   <= '0;
      taken_q   <= '0;
    end else begin
      if (register_valid_i && register_write_i && register_address_i == REGISTER_QUEUE) queue_q <= register_data_i;
      if (clear_o) begin
        status_q  <= OK;
        refused_q <= '0;
      end
      case (state_q)
        Idle: begin
          asked_q   <= '0;
          taken_q   <= '0;
          index_q   <= '0;
          count_q   <= register_data_i[15:0];
          address_q <= queue_q;
          if (ring) begin
            if (register_data_i == '0 || register_data_i > 64'(MOST_COMMANDS)) status_q <= BAD_SIZE;
            else if (!in_l1) status_q <= BAD_ADDRESS;
            else state_q <= Fetch;
          end
        end
        Fetch: begin
          if (fetch_valid_o && fetch_ready_i) begin
            asked_q   <= asked_q + 4'd1;
            address_q <= address_q + 64'd8;
          end
          if (fetched_valid_i) begin
            taken_q <= taken_q + 3'd1;
            if (&taken_q) state_q <= Start;
          end
        end
        Start: state_q <= Check;
        Check: begin
          asked_q <= '0;
          if (checked_i) begin
            state_q <= Give;
            if (status_i != OK) begin
              state_q   <= Idle;
              status_q  <= status_i;
              refused_q <= index_q;
            end
          end
        end
        Give: begin
          if (ready_i) begin
            index_q <= index_q + 16'd1;
            state_q <= ends_o ? Idle : Fetch;
          end
        end
        default: state_q <= Idle;
      endcase
    end
  end

  always_ff @(posedge clk_i) begin
    if (fetched_valid_i) words_q[taken_q] <= fetched_data_i;
  end

  `POTLUCK_ASSERT(FetchesAreAwaited, fetched_valid_i |-> state_q == Fetch)

endmodule
